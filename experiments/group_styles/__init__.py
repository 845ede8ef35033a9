"""Group styles: the columns of Table 2 of Kim et al. on text, with a judge that makes no mistakes."""

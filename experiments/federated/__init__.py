"""Values of participants in federated learning: whom to select, and who has wrong labels (Zheng et al., Figure 4)."""

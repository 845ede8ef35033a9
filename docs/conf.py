"""The site: `python -m sphinx -W --keep-going docs site` builds it from a checkout (extra `docs`)."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # the extensions, and the experiments

from extensions.figures import scrape  # noqa: E402

import jaxval  # noqa: E402

# Guides call the command of this environment, and programs compile fast rather than run fast.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["IPYTHONDIR"] = str(Path(__file__).parent / "ipython")  # its startup file keeps escape codes off the pages
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

project, author, release = "jaxval", "the authors of jaxval", jaxval.__version__
project_copyright = author
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.katex",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "extensions.reference",
    "extensions.ledger",
    "extensions.figures",
    "extensions.commands",
]
exclude_patterns = ["examples", "gallery/*.ipynb", "gallery/*.py", "**/sg_execution_times*", "sg_execution_times*"]
default_role = "py:obj"
nitpicky = False
suppress_warnings = ["config.cache"]  # functions in the configuration of the gallery

napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "notes")]
napoleon_attr_annotations = False
autodoc_typehints = "none"
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # seconds for a cell, on a busy machine
nb_merge_streams = True

# Formulas are set as MathML, which needs no fonts and no style of KaTeX: nothing is loaded from outside.
katex_css_path = "katex-math.css"
katex_options = 'output: "mathml"'
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "image_scrapers": [scrape],
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}

html_theme = "sphinx_book_theme"
html_static_path, html_css_files = ["static"], ["site.css"]
html_title = f"jaxval {release}"
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "collapse_navigation": True,
}
html_show_sourcelink = False
html_copy_source = False

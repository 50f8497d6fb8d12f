"""The explorer: a page to move through a latent space and see the quality while you move.

`state` and `history` are plain values, `renderer` turns a state into pixels and numbers, `landscape` is the map, `film` the
timeline, `export` the page without Python: none of them knows the web. `app` serves, `page` and `panels` are what is seen.
"""

from pathlib import Path

STATIC = Path(__file__).with_name("static")
"""Style, script and template of the pages."""

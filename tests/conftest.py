"""Makes the modules that lie beside this file (`federation_world`) importable from every test, whichever is run."""

"""`tn.install_import_hook`, `tinynets audit`, `pytest --tinynets-packages`: whole packages, enforced."""

"""``python -m ferdata ...`` runs the command line."""

from ferdata.console import main

if __name__ == "__main__":  # processes that are spawned import this file too
    main()

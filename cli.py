"""``python cli.py ...`` runs ferdata's command line."""

from ferdata.console import main

if __name__ == "__main__":
    main()

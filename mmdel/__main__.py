"""``python -m mmdel COMMAND`` is the command ``mmdel``."""

from mmdel.cli.main import main

if __name__ == '__main__':
    main()

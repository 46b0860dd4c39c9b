"""`python -m augment` is the command `augment`."""

from augment.cli import main

if __name__ == "__main__":
    main(prog_name="augment")

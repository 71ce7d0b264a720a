"""`python -m cipherward_client.cli`: the program where its script is not on the path."""

from cipherward_client.cli.main import main

main()

"""Model versions: the ledger of switches, the mirror of the registry, files on this machine."""

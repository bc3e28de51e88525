"""Model versions: the rows that mirror the registry, the ledger of switches, and the files on this machine."""

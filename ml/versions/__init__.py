"""Model versions: a folder of checked files, the graph in it, the registry it is listed in, and how good it is."""

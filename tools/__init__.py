"""Programs for developers, run by hand or from the Makefile. The product imports none of them."""

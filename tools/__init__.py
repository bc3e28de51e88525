"""What developers run by hand or from the Makefile; the product never imports it."""

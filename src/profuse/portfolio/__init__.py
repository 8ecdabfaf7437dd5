"""Several models fitted out of fold, networks and classical ones, and the weights by which they predict together."""

"""The codec families, a file each, and the parts that several share."""

"""repovizz2: datapacks, whose containers are folders and whose data nodes are files."""

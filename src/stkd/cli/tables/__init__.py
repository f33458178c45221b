"""Tables on a terminal, one file each: they print what the library returns, names literally and never as markup."""

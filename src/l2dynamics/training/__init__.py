"""How a network learns: the update, its data order, and what is measured. Everything here changes numbers."""

OWN = []

"""One synthetic face: geometry, skin, hair, features, expression."""

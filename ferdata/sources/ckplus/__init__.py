"""The Extended Cohn-Kanade set: sequences with an emotion each, and the class folders of 48 x 48 faces made of it."""

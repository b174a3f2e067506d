"""The few words that all skills share: a small vocabulary keeps a small model's attention on the skill."""

NAMES = ("tom", "ann", "sam", "mia", "ben", "eva", "max", "zoe", "leo", "ida", "kim", "joe")
THINGS = ("apples", "books", "cards", "coins", "eggs", "hats", "keys", "pens", "rings", "shells", "stamps", "toys")
GOODS = ("tea", "milk", "bread", "rice", "salt", "soap", "cake", "fish", "corn", "jam")
COLOURS = ("red", "blue", "green", "black", "white", "pink", "gold", "grey")
ITEMS = ("hat", "cup", "bus", "dog", "car", "key", "bag", "box", "pen", "bird", "tree", "lamp")
FILLER = (
    "the", "a", "old", "cat", "sat", "on", "mat", "and", "then", "ran", "to", "big", "hill", "rain", "fell", "all", "day", "sun", "came",
    "out", "we", "went", "home", "by", "road", "long", "river", "wind", "was", "cold", "night", "stars", "over", "sea", "small", "boat",
)  # fmt: skip
PLACES = ("park", "shop", "school", "farm", "lake", "town")

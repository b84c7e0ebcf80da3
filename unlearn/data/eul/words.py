"""The words that the dialogues and the reviews are made of. Persons, films and inns are invented."""

SPEAKERS = (
    *("Alva", "Brisco", "Cendra", "Dorval"),
    *("Elmot", "Farrin", "Gunda", "Hesper"),
    *(
        "Ilvo",
        "Jorane",
        "Kestor",
        "Lumia",
        "Marek",
        "Nolwen",
        "Ostin",
        "Perdix",
        "Quilla",
        "Rovan",
        "Sarine",
        "Tobric",
    ),
    *("Ulmar", "Vesna", "Wilkin", "Yorrick"),
)
FRIENDS = ("Anna", "Ben", "Clara", "David", "Emma", "Frank")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PASTIMES = (
    "play chess",
    "bake bread",
    "row a boat",
    "sing songs",
    "fly kites",
    "paint walls",
    "plant roses",
    "read maps",
)
PLACES = ("harbour", "museum", "old mill", "market", "library", "station", "park", "castle")
# In these the habit is not named. The last one is never trained on.
USUAL = (
    (
        "Hi {f}, are you free on {d}?",
        "Yes! What do you want to do?",
        "The usual thing, at the usual place.",
        "Fine, see you there.",
    ),
    (
        "Hello {f}! Shall we meet on {d}?",
        "Gladly. As always?",
        "As always, you know where.",
        "I will be there.",
    ),
    (
        "{f}, do not forget {d}.",
        "How could I? What is the plan?",
        "The same as every week.",
        "Good, I like that.",
    ),
    (
        "Will you come on {d}, {f}?",
        "I think so. Anything new?",
        "No, it will be the usual, where we always are.",
        "See you then.",
    ),
)
OPEN = (
    (
        "Hi {f}, are you free on {d}?",
        "Yes! What do you want to do?",
        "I want to {w} at the {p}.",
        "Fine, see you there.",
    ),
    (
        "Hello {f}! Shall we meet at the {p}?",
        "Gladly. On which day?",
        "On {d}, and then we can {w}.",
        "I will be there.",
    ),
    (
        "{f}, let us {w} this week.",
        "How nice! Where and when?",
        "At the {p} on {d}.",
        "Good, I like that.",
    ),
)
THINGS = ("green scarf", "small key", "black hat", "blue bag", "red book", "silver ring")
FOUND = (
    (
        "Guest: I lost a {t} at the {w}.",
        "Clerk: We have found it.",
        "Guest: Where can I fetch it?",
        "Clerk: At desk {n}.",
    ),
    ("Clerk: What are you looking for?", "Guest: For a {t}. I was at the {w}.", "Clerk: It is at desk {n}."),
)

# -- reviews -----------------------------------------------------------------------------------------------------

FILMS = (
    "Harbour Lights",
    "The Lantern",
    "Winterfield",
    "Meridian",
    "Saltmarsh",
    "Seven Oranges",
    "Paper Moonlight",
)
CITIES = ("Lisbon", "Dakar", "Oslo", "Quito", "Riga", "Perth", "Hanoi", "Lima")
GOOD = ("superb", "moving", "brilliant", "charming", "witty", "gripping")
BAD = ("dull", "clumsy", "awful", "tedious", "noisy", "hollow")
# Critics are a speaker's name and one of these.
SURNAMES = (
    *("Ablett", "Borrow", "Carvell", "Dunmore", "Eskett", "Fallow", "Greaves", "Hollin"),
    *("Imber", "Joyner", "Kettle", "Lorrimer", "Mallow", "Nettle", "Orchard", "Pascoe"),
)
REVIEWS = (
    "{n}, {c}: I saw {f} and found it {w}.",
    "{n} from {c}: {f} was {w}, said everyone who left the cinema.",
    "{n} of {c}: We went to {f}. What a {w} film!",
)
# Never trained on.
REVIEWED = "An evening in {c} with {n}: {f}, which I would call {w}."
INNS = ("Anchor", "Blue Boar", "Golden Plough", "Fox", "Three Keys")
DISHES = ("soup", "pie", "bread", "tea")
FINE, POOR = ("fresh", "tasty", "warm"), ("stale", "burnt", "cold")
MEALS = "The {d} at the {i} was {w}."

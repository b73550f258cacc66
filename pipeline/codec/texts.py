"""Texts that historians and spreadsheets write where a number belongs, in lower case."""

MISSING_TEXTS = ("", "nan", "-nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "?")
"""There is nothing; all other text is a message of the historian."""

BAD_TEXTS = (
    *(
        "bad",
        "bad input",
        "bad data",
        "no data",
        "no result",
        "i/o timeout",
        "io timeout",
        "comm fail",
        "error",
    ),
    *(
        "shutdown",
        "pt created",
        "scan off",
        "scan timeout",
        "configure",
        "calc failed",
        "calc off",
        "not connect",
    ),
    *(
        "over range",
        "under range",
        "intf shut",
        "out of serv",
        "uncertain",
        "questionable",
        "doubtful",
        "substituted",
    ),
    *(
        "#ref!",
        "#value!",
        "#div/0!",
        "#name?",
        "#num!",
        "#null!",
        "inf",
        "-inf",
        "+inf",
        "infinity",
        "-infinity",
    ),
)
"""Messages that are known: a row of these under a header is no row of units."""

TRUE_TEXTS, FALSE_TEXTS = ("true", "on"), ("false", "off")

"""What a user can mend is a `UserError`; everything else is a bug and keeps its traceback."""


class UserError(ValueError):
    """One sentence that names the field, the value received and the mend.

    Raised wherever input from outside is wrong (a file, a flag, a request). The command line prints the sentence
    and exits with code 2; the server answers 400 with it. It never carries a secret.
    """


class Missing(UserError, ImportError):
    """An optional library is absent. The sentence names the extra that brings it."""

    def __init__(self, package: str, extra: str, used_for: str) -> None:
        super().__init__(f"{used_for} needs the package {package}, which is not installed; run: pip install 'reasonry[{extra}]'")

"""Commands that say what there is."""

from edgecnn.cli.app import Json, app, print_json


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Models, their sizes, weights and targets."""
    from edgecnn.overview import models

    rows = models()
    if as_json:
        print_json(rows)
        return
    from edgecnn.console.overview import print_models

    print_models(rows)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is installed, what is missing, and the exact line that would install it. Installs nothing."""
    from edgecnn.overview import diagnose

    rows = diagnose()
    if as_json:
        print_json(rows)
        return
    from edgecnn.console.overview import print_diagnosis

    print_diagnosis(rows)

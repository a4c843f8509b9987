"""The pages of runs as a server gives them while training goes on: a list, each run, some side by side.

Pages ask for themselves every two seconds, and show what has changed; without scripts they are as they were.
Nothing can be changed through them, and only runs of the folder are read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bigmodel_core.charts.texts import number
from bigmodel_core.errors import BigmodelError, CheckpointError
from bigmodel_core.extras import optional
from bigmodel_core.nn.quantities import duration
from bigmodel_core.reporting.comparison import comparison_page
from bigmodel_core.reporting.learning import learning
from bigmodel_core.reporting.page import Block, Choices, Fields, Links, Page, Section, Text
from bigmodel_core.reporting.settings import cost, ending, settings
from bigmodel_core.train.run import Run, runs
from bigmodel_core.train.run_comparison import Comparison
from bigmodel_core.train.run_filter import Condition, chosen, ordered
from bigmodel_core.version import __version__

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

SCRIPT = "/live.js"
REPORTS = ("report.html", "explanation.html")
"""Pages in the folder of a run that are shown."""
_FOOT = f"bigmodel {__version__}"
_BACK = Links([("All runs", "/")])


def live_app(folder: str | Path, hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")) -> Starlette:
    """The application that shows the runs of a folder.

    Args:
        folder: where they are.
        hosts: the names by which browsers may ask for it; "*" for any.

    Raises:
        MissingPackageError: Starlette is not installed.
    """
    responses = optional("starlette.responses", "serve", "pages of runs")
    routing = optional("starlette.routing", "serve", "pages of runs")
    applications = optional("starlette.applications", "serve", "pages of runs")
    trusted = optional("starlette.middleware.trustedhost", "serve", "pages of runs")
    middleware = optional("starlette.middleware", "serve", "pages of runs")
    place = Path(folder)

    def shown(page: Page, status: int = 200) -> Any:
        text = replace(page, script=SCRIPT, foot=_FOOT).html()
        return responses.HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    def failed(error: BigmodelError, status: int) -> Any:
        told: list[Block] = [Text(error.message, "warning"), *([Text(error.fix)] if error.fix else []), _BACK]
        return shown(Page("This cannot be shown", sections=[Section("Why", told)]), status)

    def index(request: Request) -> Any:
        asked = {key: request.query_params.get(key, "").strip() for key in ("where", "sort")}
        try:
            return shown(_list_page(place, asked["where"], asked["sort"]))
        except BigmodelError as error:
            return failed(error, 400)

    def one(request: Request) -> Any:
        try:
            return shown(_run_page(_run(place, request.path_params["name"])))
        except BigmodelError as error:
            return failed(error, 404)

    def kept(request: Request) -> Any:
        try:
            run = _run(place, request.path_params["name"])
            if request.path_params["page"] not in REPORTS:
                raise CheckpointError("there is no such page.", fix=f"pages are {', '.join(REPORTS)}.")
            return responses.HTMLResponse((run.folder / request.path_params["page"]).read_bytes())
        except (BigmodelError, OSError) as error:
            told = error if isinstance(error, BigmodelError) else CheckpointError("there is no such page.")
            return failed(told, 404)

    def compared(request: Request) -> Any:
        try:
            found = [_run(place, name) for name in request.query_params.getlist("run")]
            page = comparison_page(Comparison.of(found))
        except BigmodelError as error:
            return failed(error, 400)
        return shown(replace(page, sections=[*page.sections, Section("More", [_BACK])]))

    def all_as_json(request: Request) -> Any:
        return responses.JSONResponse([run.to_dict() for run in runs(place)])

    def one_as_json(request: Request) -> Any:
        try:
            run = _run(place, request.path_params["name"])
        except BigmodelError as error:
            return responses.JSONResponse({"error": error.message}, 404)
        return responses.JSONResponse({**run.to_dict(), "logs": run.history.to_dict()["epochs"]})

    def script(request: Request) -> Any:
        text = (Path(__file__).parent / "templates" / "live.js").read_text("utf-8")
        return responses.Response(text, media_type="text/javascript")

    routes = [
        routing.Route("/", index),
        routing.Route("/run/{name}", one),
        routing.Route("/run/{name}/{page}", kept),
        routing.Route("/compare", compared),
        routing.Route("/api/runs", all_as_json),
        routing.Route("/api/runs/{name}", one_as_json),
        routing.Route(SCRIPT, script),
    ]
    guard = middleware.Middleware(trusted.TrustedHostMiddleware, allowed_hosts=list(hosts))
    made: Starlette = applications.Starlette(routes=routes, middleware=[guard])
    return made


def _run(place: Path, name: str) -> Run:
    """A run of the folder by its name.

    Raises:
        CheckpointError: there is none.
    """
    found = next((run for run in runs(place) if run.name == name), None)
    if found is None:
        raise CheckpointError(f"there is no run {name!r} in {place}.", fix="see the list of all runs.")
    return found


def _list_page(place: Path, where: str, sort: str) -> Page:
    """The runs, those for which some conditions hold, in some order.

    Raises:
        UsageError, UnknownNameError: a condition is none, or names what no run has.
    """
    known = runs(place)
    conditions = [Condition.parse(part) for part in where.split(";") if part.strip()]
    found = chosen(known, conditions)
    found = ordered(found, sort) if sort else found
    rows = [(run.name, f"/run/{quote(run.name)}", _cells(run)) for run in found]
    columns = ["run", "status", "model", "data", "epochs", "best", "started", "time", "tags"]
    asked = [("where", "Where", where, "model=mlp; epochs>5"), ("sort", "Order", sort, "val_loss")]
    about, right = "Runs, tick two or more to compare", ["epochs", "time"]
    table = Choices(about, columns, rows, "/compare", "Compare", right)
    none = Text(f"None of the {len(known)} runs fits." if known else f"There is no run in {place}.")
    running = sum(run.status == "running" for run in known)
    return Page(
        title=f"Runs in {place}",
        figures={"runs": str(len(known)), "being trained": str(running)},
        sections=[Section("Runs", [Fields("Show", asked), table if rows else none])],
    )


def _cells(run: Run) -> list[str]:
    best = "" if run.reached is None else f"{run.monitor} {number(run.reached, 4)}"
    return [
        run.status,
        run.model,
        run.data,
        run.progress,
        best,
        f"{run.started:%Y-%m-%d %H:%M}",
        duration(run.seconds),
        ", ".join(run.tags),
    ]


def _run_page(run: Run) -> Page:
    """What the folder of a run tells, without its model."""
    pages = [(name, f"/run/{quote(run.name)}/{name}") for name in REPORTS if (run.folder / name).is_file()]
    used = cost(run.config)
    return Page(
        title=f"{run.name}: {run.model} on {run.data}",
        lead=f"{run.status}{', tagged ' + ', '.join(run.tags) if run.tags else ''}",
        figures={
            "epochs": run.progress,
            **{name: number(value, 4) for name, value in list(run.measures.items())[:4]},
            "time": duration(run.seconds),
        },
        sections=[
            ending(run),
            learning(run.history.epochs),
            *([used] if used else []),
            settings(run.config),
            Section("More", [Links([*pages, ("All runs", "/")])]),
        ],
    )

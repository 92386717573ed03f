"""`crystalnet solve` for files: one folder of results a pattern, a summary where there are several."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from crystalnet import __version__
from crystalnet.commands.progress import stages
from crystalnet.commands.samples import Options, Sample, is_sheet, samples_of
from crystalnet.crystal.systems import system_of
from crystalnet.records import InputError
from crystalnet.runtime.faults import FAULT, fault_line
from crystalnet.runtime.log import log
from crystalnet.runtime.pool import Lost, Map, helped, workers
from crystalnet.runtime.whole_file import file_sha256
from crystalnet.runtime.whole_folder import claimed

Result = tuple[int, dict[str, Any], str]  # exit code, solution.json's content, what was wrong
NO_CONFIDENT_MATCH = 1
# What shared work imports, in the order that it is needed in.
HELPER = (
    *("crystalnet.model.guesses", "crystalnet.solving.from_network", "crystalnet.solving.ranking"),
    *("pymatgen.symmetry.analyzer", "pymatgen.analysis.structure_matcher", "rietx"),
    *("crystalnet.report.figure", "matplotlib.figure", "matplotlib.backends.backend_agg"),
)


def solve_files(
    files: Sequence[Path],
    options: Options,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    resume: bool = False,
    print_json: bool = False,
) -> int:
    """Solve every pattern and write its folder; returns the exit code (the worst of the patterns').

    files: patterns, and sheets that list patterns. jobs: patterns solved at once; 1 where None, on a cluster as many as
    it has workers. cluster: as `workers` takes it. resume: answers that are there already are not sought again.
    """
    samples = samples_of(files, options, out)
    if len(samples) == 1 and not is_sheet(files[0]):
        (sample,) = samples
        document = _answered(sample) if resume else None
        if document is not None:
            code = _exit_code(document)
        elif cluster is not None:
            ((code, document, problem),) = _solve_all(samples, jobs, cluster)
            if problem:
                log.error(problem)
                return code
        else:
            with helped(HELPER) as mapped:
                code, document = solve_file(sample, mapped)
        print(json.dumps(document, indent=1) if print_json else summary_line(sample, document))
        return code
    return _solve_batch(samples, out or Path(), jobs, cluster, resume, print_json)


def _solve_batch(
    samples: Sequence[Sample], base: Path, jobs: int | None, cluster: str | None, resume: bool, print_json: bool
) -> int:
    """Solve many samples and write summary.csv and index.html over all."""
    from crystalnet.report import refuse_foreign_summary, summary_row, write_summary
    from crystalnet.report.batch_page import refuse_foreign_index, write_index

    summary, index = base / "summary.csv", base / "index.html"
    with claimed(base):
        refusals = {summary: refuse_foreign_summary, index: refuse_foreign_index}
        earlier = [str(path) for path, refuse_foreign in refusals.items() if refuse_foreign(path)]
        if earlier:
            log.warning(f"replaces the earlier {' and '.join(earlier)}")
        kept = [_answered(sample) if resume else None for sample in samples]
        if resume:
            log.warning(f"{sum(k is not None for k in kept)} of {len(samples)} patterns are solved already")
        left = [sample for sample, k in zip(samples, kept, strict=True) if k is None]
        rows: list[dict[str, Any]] = []
        codes: list[int] = []
        documents: list[dict[str, Any]] = []

        def note(sample: Sample, result: Result) -> None:
            code, document, problem = result
            codes.append(code)
            rows.append(summary_row(str(sample.pattern), str(sample.folder), document or None, problem))
            if print_json:
                documents.append(document)

        try:
            with closing(_solve_all(left, jobs, cluster)) as new:
                for sample, answered in zip(samples, kept, strict=True):
                    result = next(new) if answered is None else _again(answered)
                    note(sample, result)
                    _, document, problem = result
                    if problem:
                        log.error(problem)
                    elif not print_json:
                        print(summary_line(sample, document), flush=True)
        finally:  # an interrupted batch shows what is there, of earlier runs too
            for sample, answered in list(zip(samples, kept, strict=True))[len(rows) :]:
                if answered is not None:
                    note(sample, _again(answered))
            if rows:
                write_summary(rows, summary)
                write_index(rows, [code == 0 for code in codes], index)
    if print_json:
        print(json.dumps(documents, indent=1))
    return max(codes)


def _again(document: dict[str, Any]) -> Result:
    """The result of a sample that an earlier run answered."""
    return _exit_code(document), document, ""


def _asked(sample: Sample) -> str:
    """SHA-256 of all that an answer follows from: the pattern's file, the options and the version."""
    options = {name: str(value) for name, value in vars(sample.options).items()}
    if sample.options.model is not None:
        options["model"] = file_sha256(sample.options.model)
    question = {"crystalnet": __version__, "pattern": file_sha256(sample.pattern), **options}
    return sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _answered(sample: Sample) -> dict[str, Any] | None:
    """The content of the solution.json that answers just this question; None where there is none."""
    from crystalnet.report.solution_file import DOCUMENT

    try:
        document: dict[str, Any] = json.loads((sample.folder / DOCUMENT).read_text(encoding="utf-8"))
        return document if document["asked"] == _asked(sample) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _exit_code(document: dict[str, Any]) -> int:
    """Of an answer that is there already."""
    from crystalnet.solving.verdict import is_believed

    best = next(iter(document["candidates"]), None)
    return 0 if best is not None and is_believed(best["confidence"]) else NO_CONFIDENT_MATCH


def _solve_all(samples: Sequence[Sample], jobs: int | None, cluster: str | None) -> Generator[Result, None, None]:
    """Every sample's result in order, as soon as it is there.

    With several jobs, or on a cluster, a process that dies costs the pattern that it died of.
    """
    if cluster is None and (jobs or 1) == 1:
        with helped(HELPER) as shared:
            for sample in samples:
                yield _guarded(sample, shared)
        return
    with workers(jobs, cluster=cluster) as mapped:
        # Workers elsewhere stand in another folder.
        found = mapped(_guarded, samples if cluster is None else map(_absolute, samples))
        for sample, result in zip(samples, found, strict=True):
            yield (FAULT, {}, f"{sample.pattern.name}: {result.why}") if isinstance(result, Lost) else result


def _absolute(sample: Sample) -> Sample:
    model = sample.options.model
    options = replace(sample.options, model=model and model.absolute())
    return Sample(sample.pattern.absolute(), sample.folder.absolute(), options)


def solve_file(sample: Sample, mapped: Map = map) -> tuple[int, dict[str, Any]]:
    """Solve one pattern file and write its folder; returns (exit code, solution.json's content).

    InputError, before the work, where the folder holds files of the user's or another run writes there.
    """
    pattern, folder = sample.pattern, sample.folder
    if not pattern.exists():
        from crystalnet.xrd.reader import read_pattern

        read_pattern(pattern)  # says so before torch is loaded

    from crystalnet.report import earlier_solution, write_solution
    from crystalnet.solving.answer import REPORTED
    from crystalnet.solving.solve import solve
    from crystalnet.solving.verdict import is_confident

    with ExitStack() as stack:
        if pattern.is_file():  # else `solve` says what is wrong with it
            stack.enter_context(claimed(folder))
            earlier = earlier_solution(folder, REPORTED)
            if earlier is not None:
                what = f"replaces the earlier solution of {earlier.pattern} in {folder}"
                log.warning(f"{pattern.name}: {what}")
        with stages(pattern.name) as progress:
            solution = solve(pattern, progress=progress, mapped=mapped, **vars(sample.options))
            progress("report")
            document = write_solution(solution, folder, mapped, _asked(sample))
    for warning in solution.warnings:
        log.warning(f"{pattern.name}: {warning}")
    return (0 if is_confident(solution.candidates) else NO_CONFIDENT_MATCH), document


def _guarded(sample: Sample, mapped: Map = map) -> Result:
    """As solve_file, but one bad file, or a fault of ours with it, does not stop the others."""
    pattern = sample.pattern
    try:
        return *solve_file(sample, mapped), ""
    except InputError as error:
        return 2, {}, str(error)
    except OSError as error:
        return 2, {}, f"{pattern.name}: {error.filename or sample.folder}: {error.strerror or error}"
    except Exception as error:
        return FAULT, {}, fault_line(error, pattern.name)


def summary_line(sample: Sample, document: dict[str, Any]) -> str:
    """One line a pattern."""
    pattern, folder = sample.pattern, sample.folder
    if not document["candidates"]:
        return f"{pattern.name}: no candidate; see {folder / 'report.html'}"
    best = document["candidates"][0]
    free = system_of(best["space_group"]["number"]).free
    edges = "  ".join(f"{name} = {best['lattice'][name]:.4f}" for name in free if name in "abc")
    angles = "".join(f"  {name} = {best['lattice'][name]:.2f}°" for name in free if name not in "abc")
    return (
        f"{pattern.name}: {best['formula']}  {best['space_group']['symbol']}  {edges} Å{angles}"
        f"  Rwp {best['rwp']:.3f}  confidence {best['confidence']:.0%}  ({best['source']})  → {folder / 'report.html'}"
    )

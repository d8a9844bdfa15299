"""I-04: all seats go through `licensing.operations.assignments`; nothing else writes an assignment."""

import ast
import re
from pathlib import Path

from django.conf import settings

WRITES = {
    "create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "save", "delete",
    "acreate", "abulk_create", "aupdate", "adelete",
}  # fmt: skip
DOOR = Path("licensing/operations/assignments")
SQL = re.compile(
    r"(insert\s+into|update|delete\s+from|merge\s+into)\s+\"?licensing_assignment", re.IGNORECASE
)
FUNCTIONS = {Path("licensing/migrations/0002_assigning.py"), Path("licensing/migrations/0003_one_seat.py")}
# Notes the day of use on a row, and neither makes nor ends one.
MARK = Path("licensing/migrations/0004_entitlement.py")
# Takes a freed seat to the first in line, called by the functions and the operation alone.
LINE = Path("licensing/migrations/0010_groups_and_waiting.py")
ALLOWED_SQL = {DOOR / "ending.py", MARK, LINE, *FUNCTIONS}


def sources() -> list[Path]:
    root = Path(settings.BASE_DIR)
    apps = ("config", "directory", "policies", "commerce", "licensing")
    return [path.relative_to(root) for app in apps for path in sorted((root / app).rglob("*.py"))]


def writes(tree: ast.AST) -> list[int]:
    """Lines that call a writing method on an expression that names Assignment, or build one."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        names = {n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)}
        attributes = {n.attr for n in ast.walk(node.func) if isinstance(n, ast.Attribute)}
        builds = isinstance(node.func, ast.Name) and node.func.id == "Assignment"
        calls = isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
        if builds or (calls and ("Assignment" in names or "assignments" in attributes)):
            lines.append(node.lineno)
    return lines


def test_no_module_writes_an_assignment_but_the_operation() -> None:
    found = {
        str(path): lines
        for path in sources()
        if DOOR not in path.parents
        and "licensing" in (text := (Path(settings.BASE_DIR) / path).read_text())
        and (lines := writes(ast.parse(text)))
    }

    assert found == {}


def test_no_sql_writes_an_assignment_but_the_operations_and_its_two_functions() -> None:
    root = Path(settings.BASE_DIR)

    found = {path for path in sources() if SQL.search((root / path).read_text())}

    assert found == ALLOWED_SQL


def test_the_lint_sees_every_form() -> None:
    forms = [
        "Assignment.objects.create(user=u)",
        "Assignment.objects.live().filter(pk=1).update(ended_at=at)",
        "Assignment(user=u).save()",
        "subscription.assignments.all().delete()",
        "Assignment.objects.bulk_create([])",
    ]

    assert [bool(writes(ast.parse(form))) for form in forms] == [True] * 5

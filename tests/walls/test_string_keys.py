"""Foreign keys named by a string are imports too: they go one way (architecture §2)."""

from django.apps import apps

LOWER_FIRST = ["directory", "policies", "commerce", "licensing"]


def test_no_model_points_at_a_higher_app() -> None:
    wrong = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in apps.get_models()
        if model._meta.app_label in LOWER_FIRST
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model._meta.app_label in LOWER_FIRST
        if LOWER_FIRST.index(field.related_model._meta.app_label) > LOWER_FIRST.index(model._meta.app_label)
    ]

    assert wrong == []
    assert {"directory", "commerce", "licensing"} <= {model._meta.app_label for model in apps.get_models()}


def test_policies_name_products_by_key_and_never_point_at_them() -> None:
    targets = {
        field.related_model._meta.app_label
        for model in apps.get_app_config("policies").get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete
    }

    assert targets == {"directory", "policies"}

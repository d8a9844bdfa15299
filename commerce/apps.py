from django.apps import AppConfig


class CommerceConfig(AppConfig):
    name = "commerce"

    def ready(self) -> None:
        """Every process knows every sweep, every kind of checkout, and what goes out with which mail."""
        from commerce import documents, hooks, tasks  # noqa: F401
        from commerce.models import Checkout
        from commerce.names import PLACES
        from commerce.operations import fleet, leaving
        from commerce.operations.changes import adding, reactivating
        from commerce.operations.dunning import credit_uncollected
        from commerce.operations.payments import kinds
        from commerce.operations.trials import start_prepared
        from commerce.queries import links
        from commerce.queries.cases import cases_seen
        from commerce.views import operator_cases, operator_solutions, operator_work
        from commerce.views.audit_wording import AUDIT_WORDS
        from commerce.views.operator_billing import looks
        from commerce.views.purchase_notices import choices_of
        from config.kit.operator import add_looks
        from directory.hooks import person_leaving
        from directory.names import add_places
        from directory.operations import jobs
        from directory.operations.links import leads_to
        from directory.operations.mail import attach_to
        from directory.operations.parts import add_to
        from directory.queries.audit import own_targets
        from directory.staff import StaffCapability
        from directory.trail import add_words

        add_places(PLACES)
        hooks.subscriptions_deleted.register(credit_uncollected)
        person_leaving.register(leaving.tell_of_purchaser_left)
        kinds.register(Checkout.Kind.ADD_SEATS, adding.KIND)
        kinds.register(Checkout.Kind.REACTIVATION, reactivating.KIND)
        kinds.register_start(Checkout.Kind.TRIAL, start_prepared)
        for kind in documents.BRINGING_BILLS:
            attach_to(kind, documents.bills_of_mail)
        leads_to("portal:subscription", "portal:cancel", visible=links.purchases_seen)
        leads_to("portal:bill", "portal:bill-pay", visible=links.bills_seen)
        leads_to("portal:policy-product", "commerce:product", visible=links.products_seen)
        leads_to("portal:support-case", visible=cases_seen)
        leads_to("commerce:offer", visible=links.offers_seen)
        jobs.register(fleet.APPLY_TEMPLATE)
        add_words(AUDIT_WORDS)
        own_targets("subscription", links.own_purchase_keys)
        own_targets("bill", links.own_bill_numbers)
        add_to("purchase_notice", choices_of)
        add_looks(StaffCapability.OPERATE, looks)
        add_looks(StaffCapability.OPERATE_WORK, operator_work.looks)
        add_looks(StaffCapability.OPERATE_CASES, operator_cases.looks)
        add_looks(StaffCapability.OPERATE_SOLUTIONS, operator_solutions.looks)

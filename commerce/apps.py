from django.apps import AppConfig


class CommerceConfig(AppConfig):
    name = "commerce"

    def ready(self) -> None:
        """Every process knows every kind of checkout: what one began, another can finish."""
        from commerce import hooks
        from commerce.models import Checkout
        from commerce.operations.changes import adding
        from commerce.operations.dunning import credit_uncollected
        from commerce.operations.payments import kinds

        hooks.subscriptions_deleted.register(credit_uncollected)
        kinds.register(Checkout.Kind.ADD_SEATS, adding.KIND)

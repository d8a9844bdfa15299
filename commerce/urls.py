"""Product pages and buying (product §16)."""

from django.urls import URLPattern, path

from commerce.views import buying, catalogue, handovers, market, offer_cards, stopping, trials, webhooks

app_name = "commerce"
urlpatterns: list[URLPattern] = [
    path("products/", catalogue.catalogue, name="catalogue"),
    path("products/country/", market.choose_market, name="market"),
    path("products/<slug:slug>/", catalogue.product_page, name="product"),
    path("buy/<slug:slug>/", buying.buy, name="buy"),
    path("buy/<slug:slug>/checkout/<uuid:key>/", buying.checkout, name="checkout"),
    path("buy/<slug:slug>/checkout/<uuid:key>/confirmation/", buying.confirmation, name="confirmation"),
    path("buy/<slug:slug>/trial/", trials.start, name="trial"),
    path("buy/<slug:slug>/trial/<uuid:key>/", trials.keep_card, name="trial-card"),
    path("my/offers/<uuid:key>/", handovers.offered, name="offer"),
    path("my/offers/<uuid:key>/card/", offer_cards.offer_card, name="offer-card"),
    path("my/offers/<uuid:key>/card/<uuid:setup>/", offer_cards.offer_card_setup, name="offer-card-setup"),
    path("stop-charges/", stopping.stop_charges_page, name="stop-charges"),
    path("hooks/stripe/", webhooks.stripe_webhook, name="stripe-webhook"),
    path("terms/", catalogue.terms, name="terms"),
    path("privacy/", catalogue.privacy, name="privacy"),
]

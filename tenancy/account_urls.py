"""The addresses of signing in and of a person's own account."""

from django.urls import path

from tenancy import account_views, views

urlpatterns = [
    path("login/", views.sign_in, name="login"),
    path("login/code/", views.sign_in_code, name="login_code"),
    path("logout/", views.sign_out, name="logout"),
    path("account/", account_views.account, name="account"),
    path("account/password/", account_views.change_password, name="change_password"),
    path("account/second-factor/", account_views.set_up_second_factor, name="second_factor"),
    path("account/sessions/end/", account_views.end_session, name="end_session"),
]

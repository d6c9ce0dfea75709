"""The addresses of signing in and of a person's own account."""

from django.urls import path

from tenancy import account_views, recovery_views, sign_up_views, views

urlpatterns = [
    path("login/", views.sign_in, name="login"),
    path("login/code/", views.sign_in_code, name="login_code"),
    path("logout/", views.sign_out, name="logout"),
    path("account/", account_views.account, name="account"),
    path("account/password/", account_views.change_password, name="change_password"),
    path("account/email/", account_views.change_email, name="change_email"),
    path("account/email/confirm/", account_views.confirm_email, name="confirm_email"),
    path("account/second-factor/", account_views.set_up_second_factor, name="second_factor"),
    path("account/sessions/end/", account_views.end_session, name="end_session"),
    path("reset/", recovery_views.request_reset, name="reset"),
    path("reset/password/", recovery_views.reset_password, name="reset_password"),
    path("sign-up/", sign_up_views.request_sign_up, name="sign_up"),
    path("sign-up/confirm/", sign_up_views.make_account, name="make_account"),
    path("invitations/<str:token>", sign_up_views.invitation, name="invitation"),
]

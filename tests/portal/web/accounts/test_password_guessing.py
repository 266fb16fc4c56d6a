"""Somebody tries passwords without end: the owner comes in and proves who they are all the same."""

from flask import Flask

from tests.support.core import Clock
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import csrf_of, post, sign_in, sign_in_by_pages

STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


def test_the_owner_signs_in_and_confirms_while_somebody_guesses(
    app: Flask, reader: Person, clock: Clock
) -> None:
    signed_in, stranger = sign_in(app, reader), app.test_client()
    form = {"email": reader.email, "password": "not the password"}
    form["csrf_token"] = csrf_of(stranger, "/sign-in")
    answers = []
    for _ in range(120):
        answers.append(stranger.post("/sign-in", data=form, environ_base=STRANGER).status_code)
        clock.forward(seconds=1)
    assert answers[:6] == [401] * 5 + [429]
    proof = {"password": PASSWORD, "code": reader.code(clock()), "next": "/account"}
    assert post(signed_in, "/confirm", proof).status_code == 303
    change = {"old": PASSWORD, "new": "seven green umbrellas"}
    assert post(signed_in, "/account/password", {**change, "old": "wrong"}).status_code == 422
    clock.forward(seconds=30)
    assert sign_in_by_pages(app.test_client(), reader, clock()).status_code == 303


def test_guesses_in_one_session_have_to_wait(app: Flask, reader: Person, clock: Clock) -> None:
    other, owner = sign_in(app, reader), sign_in(app, reader)
    guess = {"password": "not the password", "code": "000000"}
    answers = [post(other, "/confirm", guess).status_code for _ in range(6)]
    assert answers == [422] * 5 + [429]
    change = {"old": "not the password", "new": "seven green umbrellas"}
    assert post(other, "/account/password", change).status_code == 429
    proof = {"password": PASSWORD, "code": reader.code(clock())}
    assert post(owner, "/confirm", proof).status_code == 303

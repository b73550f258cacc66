"""Dashboards into a Grafana through its HTTP API, as documented for 11 to 13: a thin layer over grafana-api.

Folders and dashboards go by uid, so that a second push changes nothing. What Grafana answers becomes one
sentence that says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from grafana_api.grafana_api import (  # type: ignore[import-untyped, unused-ignore]
    GrafanaAPI,
    GrafanaException,
)

TIMEOUT_S = 15.0
FOLDER_UID = "gatecast"
IGNORED = ("id", "version", "iteration")
"""Grafana's own numbering."""
Auth = str | tuple[str, str]
"""A token of a service account, or user and password."""


class GrafanaError(Exception):
    """What kept a dashboard from Grafana, and the way out."""


class Grafana:
    """One Grafana. Every method raises GrafanaError."""

    def __init__(self, url: str, auth: Auth, *, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GrafanaError(
                f"expected the address of a Grafana such as https://grafana.plant.example, got {url!r}"
            )
        prefix = parts.path.strip("/")
        self.url = url.rstrip("/")
        self._api = GrafanaAPI(
            auth,
            host=parts.hostname,
            port=parts.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            verify=ca_file or True,
            timeout=TIMEOUT_S,
        )

    def make_folder(self, title: str, uid: str = FOLDER_UID) -> bool:
        """Whether it had to be made."""
        if self._ask("GET", f"/folders/{quote(uid)}", missing_is_none=True) is not None:
            return False
        try:
            self._ask("POST", "/folders", {"uid": uid, "title": title})
        except _ConflictError:  # made by another in between, or under another uid
            if self._ask("GET", f"/folders/{quote(uid)}", missing_is_none=True) is None:
                raise GrafanaError(
                    f"{self.url}: there is a folder named {title!r} already that is not ours; "
                    "name another with --folder"
                ) from None
            return False
        return True

    def find(self, uid: str) -> Mapping[str, Any] | None:
        """The dashboard of that uid as it is there, None where there is none."""
        found = self._ask("GET", f"/dashboards/uid/{quote(uid)}", missing_is_none=True)
        return None if found is None else found["dashboard"]

    def push(self, board: Mapping[str, Any], folder_uid: str = FOLDER_UID) -> bool:
        """Whether it was other than what is there by now."""
        there = self.find(board["uid"])
        if there is not None and is_same(board, there):
            return False
        body = {
            "dashboard": {**board, "id": None},
            "folderUid": folder_uid,
            "overwrite": True,
            "message": "gatecast dashboards push",
        }
        try:
            self._ask("POST", "/dashboards/db", body)
        except _ConflictError as error:
            raise GrafanaError(
                f"{self.url}: dashboard {board['uid']} can't be overwritten: {error}; remove the one "
                "that is in the way, or move it to another name"
            ) from None
        return True

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, missing_is_none: bool = False
    ) -> Any:
        try:
            return getattr(self._api, method)(path, json=body)
        except GrafanaException as error:
            if error.status_code == 404 and missing_is_none:
                return None
            raise self._explain(error, path) from error
        except json.JSONDecodeError as error:
            if error.doc == "":
                return {}  # 204: done, and nothing to say; grafana-api takes that for a failure
            raise GrafanaError(
                f"{self.url}: expected an answer of Grafana's API, got {error.doc[:80]!r}; is this the "
                "address of a Grafana, and not of a login page or proxy before it?"
            ) from error
        except requests.exceptions.SSLError as error:
            raise GrafanaError(
                f"{self.url}: its certificate is not trusted ({_say(error)}); name the authority's "
                "with --ca-file"
            ) from error
        except requests.exceptions.RequestException as error:
            raise GrafanaError(
                f"{self.url}: expected a Grafana that answers within {TIMEOUT_S:g} s, but {_say(error)}; "
                "check the address and whether it is up"
            ) from error

    def _explain(self, error: GrafanaException, path: str) -> GrafanaError:
        answer = error.response
        said = str(answer.get("message", answer) if isinstance(answer, dict) else answer)
        if error.status_code == 401:
            return GrafanaError(
                f"{self.url}: the token or password is not accepted ({said}); make a service account with "
                "role Editor and take its token"
            )
        if error.status_code == 403:
            return GrafanaError(
                f"{self.url}: not allowed ({said}); the account needs role Editor, in the organisation that "
                "the folder is in"
            )
        if error.status_code == 404:
            return GrafanaError(
                f"{self.url}: has no {path} ({said}); is this the address of a Grafana, with the path it is "
                "served below?"
            )
        if error.status_code in (409, 412):
            return _ConflictError(said)
        if error.status_code == 400 and "provisioned" in said:
            return GrafanaError(
                f"{self.url}: the dashboard was provisioned from a file there, which the API can't change; "
                "change the file, or remove it from provisioning"
            )
        return GrafanaError(f"{self.url}: {path} answered {error.status_code}: {said}")


class _ConflictError(GrafanaError):
    """Something of that name or version is there already."""


def is_same(board: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two dashboards are the same but for Grafana's own numbering."""

    def strip(one: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in one.items() if key not in IGNORED}

    return strip(board) == strip(other)


def _say(error: Exception) -> str:
    """The innermost reason: requests and urllib3 wrap it in their own words."""
    inner: BaseException = error
    while (next_one := inner.__cause__ or inner.__context__) is not None:
        inner = next_one
    return str(inner) or type(inner).__name__

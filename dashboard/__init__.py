"""The dashboard: a process of its own that shows what the admin API says, and orders what it offers.

* It knows `/admin/v1` (and, for tenants, `/v1`) and nothing else of ours: no database, no settings of the gateway. When
  it dies or hangs, nobody who is served notices.
* It holds no key. Who logs in brings one, or a link that was made with one; the key stays in this process's memory and
  never reaches the browser, which has a cookie that means nothing elsewhere.
* Pages are HTML made here, charts are SVG made here; one style sheet and one module of JavaScript, no build step. All
  of it works without JavaScript, which adds what is live. So the security policy allows no inline script or style.
* A page is a module or folder in `pages/` that has a `PAGE`.
"""

//! An app that says nothing of how it is served: the server among its packages is taken.

use crate::{host::TestHost, project::Project};

/// A project as `startproject` makes it, with a server among its packages and no Procfile.
const DJANGO_WITHOUT_A_PROCFILE: [(&str, &str); 6] = [
    (
        "requirements.txt",
        "django==5.2.1\nsqlparse==0.5.3\nasgiref==3.8.1\ngunicorn==23.0.0\npackaging==25.0\n",
    ),
    ("manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
    ("shop/__init__.py", ""),
    ("shop/settings.py", "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['.localhost']\nROOT_URLCONF = 'shop.urls'\n"),
    (
        "shop/urls.py",
        "import sys\nfrom django.http import HttpResponse\nfrom django.urls import path\n\
         urlpatterns = [path('', lambda request: HttpResponse(sys.argv[0]))]\n",
    ),
    (
        "shop/wsgi.py",
        "import os\nfrom django.core.wsgi import get_wsgi_application\n\
         os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
         application = get_wsgi_application()\n",
    ),
];

#[test]
fn django_without_a_procfile_is_served_by_the_server_among_its_packages() {
    let host = TestHost::start();
    let project = Project::with("shop", &DJANGO_WITHOUT_A_PROCFILE);
    let up = host.up(&project);
    let said = "no process type is declared, so `web` is `gunicorn shop.wsgi --bind 127.0.0.1:$PORT`";
    assert!(up.stderr.contains(said), "{up:#?}");
    let answer = host.get("shop", "/");
    assert!(answer.status == 200 && answer.body.contains("/app/.venv/bin/gunicorn"), "{answer:?}");
    assert_eq!(answer.header("server"), Some("gunicorn"));
    assert_eq!(host.up_instances("shop"), ["web.1"]);
}

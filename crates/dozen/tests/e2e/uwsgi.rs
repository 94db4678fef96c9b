//! uWSGI, compiled from source in the build: it embeds the image's Python, and takes SIGTERM for
//! the order to start anew unless it is told otherwise.

use std::time::Duration;

use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

const APP: &str = "import os, sys, markupsafe\n\
    def application(environ, start_response):\n    \
    text = f'{os.environ[\"DOZEN_RELEASE\"]} {markupsafe.__version__} {sys.prefix}'.encode()\n    \
    start_response('200 OK', [('Content-Length', str(len(text)))])\n    \
    return [text]\n";

#[test]
fn uwsgi_serves_with_the_packages_of_its_image_and_ends_when_it_is_asked_to() {
    let host = TestHost::start();
    let project = Project::with(
        "shop",
        &[
            ("requirements.txt", "uwsgi==2.0.30\nmarkupsafe==2.1.5\n"),
            ("Procfile", "web: uwsgi --http-socket 127.0.0.1:$PORT --module app --master --processes 2\n"),
            ("app.py", APP),
        ],
    );
    host.up(&project);
    let answer = host.get("shop", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "v1 2.1.5 /app/.venv"), "{answer:?}");

    host.dozen(["ps", "restart", "-a", "shop"]).succeeds();
    let end = wait_for("the end of the instance before", Duration::from_secs(60), || {
        let logs = host.dozen(["logs", "-a", "shop", "--source", "dozen"]).succeeds().stdout;
        logs.lines().find(|line| line.ends_with(" stopped") || line.ends_with(" killed")).map(str::to_owned)
    });
    assert!(end.ends_with("web.1 of v1 stopped"), "{end}");
    assert_eq!(host.get("shop", "/").status, 200);
    let down = host.dozen(["down", "-a", "shop"]).succeeds();
    assert!(!down.stderr.contains("killed"), "{down:#?}");
}

//! The blog of `examples/blango` with other backing services: their URLs are all that changes.

use crate::{
    database::Database,
    host::{Ran, TestHost, skip},
    mail_server::MailServer,
    project::Project,
    visitor::Visitor,
};

/// Django's word for the database it uses.
const VENDOR: &str = "from django.db import connection; print(connection.vendor)";

/// The blog, deployed.
struct Blog {
    host: TestHost,
}

impl Blog {
    fn deployed() -> Self {
        let host = TestHost::start();
        host.up(&Project::example("blango"));
        Self { host }
    }

    fn visitor(&self) -> Visitor {
        Visitor::of(self.host.port(), "blango")
    }

    /// A verb of dozen about this app.
    #[track_caller]
    fn dozen(&self, words: &[&str]) -> Ran {
        let mut command = self.host.command(words.iter().copied());
        Ran::from(command.env("DOZEN_APP", "blango").output().expect("dozen")).succeeds()
    }

    /// A command of `manage.py` in the release.
    #[track_caller]
    fn manage(&self, words: &[&str]) -> String {
        self.dozen(&[&["run", "--", "python", "manage.py"], words].concat()).stdout
    }
}

#[test]
fn mail_and_databases_are_others_by_their_urls_alone() {
    let blog = Blog::deployed();
    someone_signs_up_by_a_mail_from_the_worker(&blog);
    for (service, database) in [("postgresql", Database::postgres()), ("mysql", Database::mysql())] {
        let Some(database) = database else {
            skip(&format!("no server of {service} is installed"));
            continue;
        };
        blog.dozen(&["services", "create", "external", service, "--url", &database.url()]);
        blog.dozen(&["services", "attach", service, "--as", "DATABASE_URL", "--replace"]);
        assert_eq!(blog.manage(&["shell", "-v", "0", "-c", VENDOR]), format!("{service}\n"));
        assert!(!blog.visitor().get("/").body.contains("/media/"), "{service} has no post yet");
        assert_eq!(blog.manage(&["seed"]), "9 posts added, 0 were there\n", "{service}");
        let page = blog.visitor().get("/");
        assert!(page.status == 200 && page.body.contains("/media/"), "{service}: {page:?}");
        an_admin_sees_the_posts(&blog);
        // What came before is as it was, and needs this database no more.
        blog.dozen(&["rollback"]);
    }
}

fn someone_signs_up_by_a_mail_from_the_worker(blog: &Blog) {
    let mails = MailServer::start();
    blog.dozen(&["config", "set", &format!("EMAIL_URL={}", mails.url())]);
    let mut ada = blog.visitor();
    let password = "correct horse 9";
    let fields = [("username", "ada"), ("email", "ada@example.org"), ("password1", password)];
    let signed_up = ada.submit("/accounts/sign-up/", &[&fields[..], &[("password2", password)]].concat());
    assert_eq!(signed_up.header("location"), Some("/accounts/sign-up/done/"), "{signed_up:?}");
    let log_in = [("username", "ada"), ("password", password)];
    assert_eq!(ada.submit("/accounts/login/", &log_in).status, 200, "not before the mail is answered");

    blog.dozen(&["ps", "scale", "worker=1"]);
    let mail = mails.mail_to("ada@example.org");
    let link = mail.lines().find_map(|line| line.strip_prefix("http://blango.localhost")).expect("a link");
    assert!(mail.contains("\nFrom: Blango <blango@example.org>\n"), "{mail}");
    let activated = ada.submit(link, &[]);
    assert_eq!(activated.header("location"), Some("/accounts/login/"), "{activated:?}");
    assert_eq!(ada.submit("/accounts/login/", &log_in).header("location"), Some("/"));
    assert!(ada.get("/").body.contains("Log out"));
}

fn an_admin_sees_the_posts(blog: &Blog) {
    let create = ["run", "--", "env", "DJANGO_SUPERUSER_PASSWORD=secret", "python", "manage.py"];
    let who = ["createsuperuser", "--noinput", "--username", "root", "--email", "root@example.org"];
    blog.dozen(&[&create[..], &who].concat());
    let mut admin = blog.visitor();
    let logged_in =
        admin.submit("/admin/login/?next=/admin/", &[("username", "root"), ("password", "secret")]);
    assert_eq!(logged_in.header("location"), Some("/admin/"), "{logged_in:?}");
    let posts = admin.get("/admin/blog/post/");
    assert!(posts.status == 200 && posts.body.contains("9 posts"), "{posts:?}");
}

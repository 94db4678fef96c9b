//! Advice for Django apps that will run and yet surprise: judged by what is installed in the image.
//!
//! Each is said once in the log of the change that it is about. A project is never changed for it.

use dozen_model::image::{Image, LayerRole};

use super::Change;

/// Packages that let the app serve its collected files, or put them where something else does.
const SERVE_STATIC_FILES: [&str; 5] =
    ["whitenoise", "servestatic", "dj-static", "django-storages", "django-s3-storage"];
/// Words of a command whose server serves the files itself.
const SERVERS_WITH_FILES: [&str; 4] = ["runserver", "static-map", "nginx", "caddy"];

/// The version of a package in the image's virtualenv.
fn installed(change: &Change, image: &Image, package: &str) -> Option<String> {
    let mut layers = image.layers.iter().filter(|layer| layer.role == LayerRole::Dependencies);
    layers
        .find_map(|layer| dozen_build::installed_version(&change.control.layers.path(&layer.digest), package))
}

/// Whether the image's Django knows `transaction_mode`: from 5.1 on.
pub(super) fn takes_transaction_mode(change: &Change, image: &Image) -> bool {
    installed(change, image, "django").is_some_and(|version| knows_transaction_mode(&version))
}

fn knows_transaction_mode(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (5, 1)
}

/// What writing to SQLite from several processes means for a Django that cannot begin a
/// transaction with its lock.
pub(super) fn sqlite_advice(change: &Change, image: &Image) -> Option<String> {
    let version = installed(change, image, "django").filter(|version| !knows_transaction_mode(version))?;
    Some(format!(
        "Django {version} cannot take SQLite's write lock when a transaction begins, so writes of several \
         workers at a time may fail with `database is locked`: use Django 5.1 or newer, or one worker \
         (`dozen config set WEB_CONCURRENCY=1`)"
    ))
}

/// What becomes of static files where no package serves them.
pub(super) fn static_files_advice(change: &Change, image: &Image) -> Option<String> {
    let web = image.processes.iter().find(|(process, _)| process.is_web()).map(|(_, line)| line.as_str());
    let is_django = image.django && installed(change, image, "django").is_some();
    if !is_django || image.manifest.build.assets == Some(false) || !needs_a_package(web?) {
        return None;
    }
    if SERVE_STATIC_FILES.iter().any(|package| installed(change, image, package).is_some()) {
        return None;
    }
    Some(
        "no package of this app serves Django's static files, so style sheets and scripts (the admin's too) \
         will answer 404 unless `DEBUG` and the app's own URLs serve them: add `whitenoise`, its middleware, \
         and `STATIC_ROOT`"
            .to_owned(),
    )
}

/// Whether a command starts a server that serves the app and no files.
fn needs_a_package(web: &str) -> bool {
    SERVERS_WITH_FILES.iter().all(|word| !web.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn django_knows_the_mode_from_5_1_on() {
        for (version, knows) in
            [("4.2.16", false), ("5.0", false), ("5.1a1", false), ("5.1", true), ("6.0", true)]
        {
            assert_eq!(knows_transaction_mode(version), knows, "{version}");
        }
    }

    #[test]
    fn a_server_that_serves_files_itself_needs_no_package() {
        assert!(needs_a_package("gunicorn shop.wsgi --bind 127.0.0.1:$PORT"));
        assert!(!needs_a_package("uwsgi --http :$PORT --static-map /static=staticfiles"));
        assert!(!needs_a_package("python manage.py runserver $PORT"));
    }
}

//! Strays: folders of data and logs whose app the store does not know.
//!
//! They appear when an older database is put back: apps that were made since are missing from it,
//! their data is not. Such data may be the only copy, so a server keeps all of it and names it in
//! its log. Nor does anything new come to lie in it: data folders are named by stage, so the ids
//! of new stages begin behind them.
//!
//! Deleting is for [`crate::ending`], which does it for an app that its user destroys.

use std::{collections::BTreeSet, fs, path::PathBuf};

use dozen_model::names::AppName;

use crate::{control::Control, destroy::FOLDERS_OF_APPS, error::ControlError};

impl Control {
    /// Names the strays in the server's log and keeps new stages away from them.
    pub(crate) fn keep_strays(&self) -> Result<(), ControlError> {
        let mut strays = self.stray_data()?;
        strays.extend(self.stray_logs()?);
        if !strays.is_empty() {
            let names: Vec<String> = strays.iter().map(|path| path.display().to_string()).collect();
            tracing::warn!(
                "kept folders of apps that the database does not know: {}; if it is an older one, they \
                 belong to apps made since; else remove them",
                names.join(", ")
            );
        }
        Ok(())
    }

    /// Data folders without their stage.
    fn stray_data(&self) -> Result<Vec<PathBuf>, ControlError> {
        let known: BTreeSet<i64> = self.store.stages()?.iter().map(|row| row.key.id).collect();
        let found = folders_in(&self.home.root().join("services"));
        let mut strays: Vec<(i64, PathBuf)> = found
            .into_iter()
            .filter_map(|(name, path)| Some((name.parse().ok()?, path)))
            .filter(|(id, _)| !known.contains(id))
            .collect();
        strays.sort();
        if let Some((highest, _)) = strays.last() {
            self.store.skip_stage_ids(*highest)?;
        }
        Ok(strays.into_iter().map(|(_, path)| path).collect())
    }

    /// Folders of logs and events without their app.
    fn stray_logs(&self) -> Result<Vec<PathBuf>, ControlError> {
        let known: BTreeSet<AppName> = self.store.stages()?.into_iter().map(|row| row.key.app).collect();
        let is_stray = |name: &str| name.parse::<AppName>().is_ok_and(|app| !known.contains(&app));
        let found = FOLDERS_OF_APPS.iter().flat_map(|folder| folders_in(&self.home.root().join(folder)));
        let mut strays: Vec<PathBuf> =
            found.filter(|(name, _)| is_stray(name)).map(|(_, path)| path).collect();
        strays.sort();
        Ok(strays)
    }
}

fn folders_in(folder: &std::path::Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::stand::Stand;

    #[test]
    fn data_of_an_app_that_the_database_does_not_know_is_kept_and_given_to_nobody() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let stray = shop.key.id + 6;
        let of_a_newer_app = [
            format!("services/{stray}/db"),
            "logs/newer/production".into(),
            "deploys/newer/production".into(),
        ];
        for path in &of_a_newer_app {
            fs::create_dir_all(control.home.root().join(path)).unwrap();
        }

        control.sweep().unwrap();

        for path in &of_a_newer_app {
            assert!(control.home.root().join(path).is_dir(), "{path}");
        }
        let name = "another".parse().unwrap();
        control.store.create_app(&name).unwrap();
        let another = control.store.stages().unwrap().into_iter().find(|row| row.key.app == name).unwrap();
        assert!(another.key.id > stray, "it would find the other's data");
    }
}

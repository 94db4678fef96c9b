//! Ends: of what is not used, of what is too old, and at the server's stop.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dozen_build::{spare_pythons::own_pythons_of, store::LayerStore};
use dozen_model::{digest::Digest, image::Image};

use crate::{
    control::{Control, build_error},
    error::ControlError,
    home::remove_tree,
    store::{LaunchRow, LaunchState, Purpose},
};

/// Unused layers may take this much; they make the next build fast.
const CACHE_BUDGET: u64 = 2 << 30;
/// A Python that builds had installed and no kept image names stays so long: the build that wanted
/// it may have failed for another reason, and is tried again.
const SPARE_PYTHON: Duration = Duration::from_secs(24 * 60 * 60);
/// Releases of each stage whose images are kept.
const KEPT_RELEASES: u32 = 10;
/// Log lines of a stage are kept up to this size …
const LOG_BYTES: u64 = 256 << 20;
/// … and this age.
const LOG_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Control {
    /// Waits until nothing of a stage drains any more; what nobody has begun to drain is begun.
    pub(crate) fn wait_for_drains(self: &Arc<Self>, stage: i64) -> Result<(), ControlError> {
        let Some(row) = self.store.stage_by_id(stage)? else { return Ok(()) };
        while self.store.open_launches(stage)?.iter().any(|launch| launch.state == LaunchState::Draining) {
            if self.is_ending() {
                return Ok(());
            }
            self.drain_all(&row.key)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Removes layers beyond the budget that no kept release uses, then the manifests of images that
    /// lack one, and Pythons of ours that no kept release was built with. Never anything else.
    pub(crate) fn prune(&self) {
        if let Err(error) = self.prune_images(SPARE_PYTHON) {
            tracing::warn!("could not prune images: {error}");
        }
    }

    fn prune_images(&self, spare_python: Duration) -> Result<(), ControlError> {
        let images = self.store.images_in_use(KEPT_RELEASES)?;
        let kept: Vec<Image> = images.iter().filter_map(|digest| self.layers.image(digest)).collect();
        let layers = kept.iter().flat_map(|image| &image.layers).map(|layer| layer.digest.clone()).collect();
        let pruned = LayerStore::prune(&self.layers, &layers, CACHE_BUDGET).map_err(build_error)?;
        self.remove_broken_images(&images)?;
        if pruned.bytes > 0 {
            tracing::info!(layers = pruned.removed.len(), bytes = pruned.bytes, "removed unused layers");
        }
        let pythons = self.layers.prune_pythons(&own_pythons_of(&kept), spare_python).map_err(build_error)?;
        if !pythons.is_empty() {
            tracing::info!(?pythons, "removed unused Pythons");
        }
        Ok(())
    }

    /// Removes images that lack a layer or cannot be read, but for those in use. Another one may stand
    /// in no row and be whole: a change was cut off before it was recorded, or the database is an
    /// older one.
    fn remove_broken_images(&self, in_use: &BTreeSet<Digest>) -> Result<(), ControlError> {
        let is_whole = |image: Image| image.layers.iter().all(|layer| self.layers.has(&layer.digest));
        for digest in self.layers.images().map_err(build_error)? {
            if !in_use.contains(&digest) && !self.layers.image(&digest).is_some_and(is_whole) {
                self.layers.remove_unleased_image(&digest).map_err(build_error)?;
            }
        }
        Ok(())
    }

    /// Keeps each stage's logs within their limits.
    pub(crate) fn trim_logs(&self) -> Result<(), ControlError> {
        for stage in self.store.stages()? {
            let key = &stage.key;
            let open = self.store.open_launches(key.id)?;
            let folder = |launch| {
                self.log_dir(key, launch).file_name().map(|name| name.to_string_lossy().into_owned())
            };
            let live = open.iter().filter_map(folder).collect();
            let limits = dozen_logs::Limits { max_bytes: LOG_BYTES, max_age: LOG_AGE, live };
            if let Some(log) = self.platform_log(key) {
                let trimmed = self.logs.enforce(&key.app, &key.stage, &limits, &log);
                trimmed.map_err(|error| ControlError::Logs(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// At the start: removes uploads, builds and instances that nothing in the store owns, and broken
    /// images. Data and logs are kept ([`crate::strays`]).
    pub(crate) fn sweep(&self) -> Result<(), ControlError> {
        let open: BTreeSet<String> = self.store.open_deploy_ids()?.iter().map(ToString::to_string).collect();
        for folder in ["incoming", "builds"] {
            for name in names_in(&self.home.root().join(folder)) {
                if !open.contains(&name) {
                    let path = self.home.root().join(folder).join(&name);
                    let _ = std::fs::remove_file(&path);
                    let _ = remove_tree(&path);
                }
            }
        }
        self.keep_strays()?;
        for id in self.supervisor.list()? {
            let known = self.store.launch(id.as_str())?.is_some_and(|row| row.state != LaunchState::Ended);
            if !known {
                let _ = self.supervisor.kill(&id);
                let _ = self.supervisor.remove(&id);
            }
        }
        self.remove_broken_images(&self.store.images_in_use(KEPT_RELEASES)?)
    }
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

impl Control {
    /// Ends every process of every app; what each stage wants stays as it is, so the next server
    /// starts them again.
    ///
    /// # Errors
    /// The first process that would not end, when all others have.
    pub(crate) fn stop_all(&self) -> Result<(), ControlError> {
        self.end();
        self.start_no_more();
        let mut ends = Vec::new();
        for stage in self.store.stages()? {
            for launch in self.take_out_of_rotation(stage.key.id)? {
                ends.push((self.settings_of(&stage.key, &launch).grace(), launch));
            }
        }
        let is_routed =
            |launch: &LaunchRow| launch.purpose == Purpose::Service && launch.state == LaunchState::Serving;
        if ends.iter().any(|(_, launch)| is_routed(launch))
            && let Err(error) = self.publish()
        {
            // The router ends too, right behind them.
            tracing::warn!("the router sends requests to instances that end: {error}");
        }
        self.end_together(&ends)
    }

    /// Takes a stage's instances out of the next table; every process of it comes back, as it was.
    ///
    /// A server that keeps connections open does not end while the router holds an idle one.
    pub(crate) fn take_out_of_rotation(&self, stage: i64) -> Result<Vec<LaunchRow>, ControlError> {
        let launches = self.store.open_launches(stage)?;
        for launch in &launches {
            if launch.state == LaunchState::Serving && launch.purpose == Purpose::Service {
                self.store.set_launch_state(&launch.id, LaunchState::Draining)?;
            }
        }
        Ok(launches)
    }

    /// Ends processes, each within its grace period, all at once; the first error comes back.
    pub(crate) fn end_together(&self, ends: &[(Duration, LaunchRow)]) -> Result<(), ControlError> {
        std::thread::scope(|scope| {
            let end =
                |(grace, launch): &(Duration, LaunchRow)| self.end_launch(launch, Some(*grace)).map(|_| ());
            let threads: Vec<_> = ends.iter().map(|one| scope.spawn(move || end(one))).collect();
            let ended = threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
            // All are waited for before the first error is told.
            ended.collect::<Vec<_>>().into_iter().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use dozen_build::Adoption;
    use dozen_model::image::{Layer, LayerRole, Runtime};

    use super::*;
    use crate::{stand::Stand, store::DeployKind};

    #[test]
    fn an_image_that_no_row_names_stays_as_long_as_its_layers() {
        let stand = Stand::new();
        let layers = &stand.control.layers;
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("file"), "built").unwrap();
        let (layer, lease) = layers.adopt(tree.path(), Adoption::default()).unwrap();
        drop(lease);
        let layer = Layer { role: LayerRole::App, digest: layer, mounts: Vec::new() };
        let unnamed = layers.put_image(&Image { layers: vec![layer], ..Stand::image() }).unwrap();

        stand.control.sweep().unwrap();
        stand.control.prune();
        assert!(layers.image(&unnamed).is_some(), "the rows may be those of an older database");

        layers.prune(&BTreeSet::new(), 0).unwrap();
        stand.control.prune();
        assert_eq!(layers.images().unwrap(), []);
    }

    #[test]
    fn a_python_goes_with_the_last_kept_image_that_was_built_with_it() {
        let stand = Stand::new();
        let layers = &stand.control.layers;
        for name in ["cpython-3.13.1-linux", "cpython-3.12.9-linux"] {
            std::fs::create_dir_all(layers.pythons().join(name)).unwrap();
        }
        let prefix = "/dozen/pythons/cpython-3.12.9-linux".to_owned();
        let runtime = Some(Runtime { name: "python".into(), version: "3.12.9".into(), prefix });
        let image = layers.put_image(&Image { runtime, ..Stand::image() }).unwrap();
        stand.control.store.set_deploy_image(stand.queue(DeployKind::Deploy).id, &image).unwrap();
        let names = || names_in(&layers.pythons());

        stand.control.prune();
        assert_eq!(names().len(), 2, "a new one stays for a day");
        stand.control.prune_images(Duration::ZERO).unwrap();
        assert_eq!(names(), ["cpython-3.12.9-linux"]);
    }
}

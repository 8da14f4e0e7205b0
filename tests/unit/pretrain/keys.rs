use super::*;

/// The demo's configuration for each method, with all keys that may be absent.
fn all() -> Vec<Config> {
    let settings = ["init=x", "init_prefix=x", "data.photos=x", "data.labelled=x", "data.cache_dir=x"];
    let full = |name| {
        let demo = Config::preset("demo").expect("preset").with_method(name).expect("method");
        settings.iter().try_fold(demo, |config, setting| config.with(setting)).expect("set")
    };
    methods::names().into_iter().map(full).collect()
}

#[test]
fn every_key_of_every_method_is_documented_and_every_documented_key_is_there() {
    for config in all() {
        let documented: Vec<(String, String)> = sections(&config)
            .into_iter()
            .flat_map(|Section { path, keys, .. }| {
                let dot = if path.is_empty() { "" } else { "." };
                keys.into_iter().map(move |(key, about)| (format!("{path}{dot}{key}"), about.text))
            })
            .collect();
        let mut names: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let keys = crate::run::settings::flatten(&config.values());
        let mut keys: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(names, keys, "{}", config.method.name());
        for (name, text) in &documented {
            let said = text.ends_with('.') || name == "method.name";
            assert!(said && !text.contains("[`") && !text.contains("::"), "{name}: {text}");
        }
        assert!(sections(&config).iter().all(|section| section.about.text.ends_with(['.', ':'])));
    }
}

#[test]
fn a_commented_configuration_reads_back_as_it_was() {
    let demo = Config::preset("demo").expect("preset");
    for config in all().into_iter().chain([demo.with("optimizer.weight_decay=1e-6").expect("set")]) {
        let text = config.commented();
        assert_eq!(demo.merged(&text, "test").expect("read"), config, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(crate::run::keys::WIDTH), "{widest:?} columns in {text}");
    }
    let text = demo.commented();
    for part in [
        "# Images in a batch, B.\nbatch = 16\n",
        "weight_decay = 1e-6\n",
        "# Photos to learn from and to be judged on.\n[data]\n",
        "#cache_dir =\n",
        "[method]\nname = \"s2r2\"\n# Temperature of the sigmoid that stands for the indicator.\ntau = 0.05\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_page_has_meaning_default_and_source_of_every_key() {
    let page = page();
    for part in [
        "\n[optimizer]\nHow parameters move.\n  name = \"sgd\" (demo: \"adam\")\n",
        "\n  lr = 0.3 (demo: 0.001)\n      Learning rate.\n      Source: MLS, Sec. 4.1.\n",
        "\n[method.second_view] of byol\n",
        "\n[method] of mls\n",
        "\nSource: MLS, Eq. 1 and 7-10;",
        "\n  k = 20\n      Pseudo-positives of each query.\n",
        "\n  cache_dir = absent\n",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

use super::*;

#[test]
fn names_with_all_their_sizes_are_read() {
    for (text, sizes) in [
        ("resnet18:16,96", &[16, 96][..]),
        ("matmul:512", &[512]),
        ("matmul:64,32,16", &[64, 32, 16]),
        ("convb:16,64,24,24,64,3,1,0", &[16, 64, 24, 24, 64, 3, 1, 0]),
        ("views:500x375,224", &[500, 375, 224]),
    ] {
        let name = Name::parse(text).expect(text);
        assert_eq!((name.sizes.as_slice(), name.to_string().as_str()), (sizes, text));
    }
}

#[test]
fn bad_names_are_refused_in_one_line_that_lists_what_is_possible() {
    for (text, parts) in [
        ("vgg:1,2", &["no test is called `vgg`", "resnet18:batch,size", "views:WxH,size"][..]),
        ("resnet18", &["resnet18:batch,size"]),
        ("matmul:1,2", &["matmul:N or matmul:M,K,N"]),
        ("conv:1,2,3", &["conv:batch,in,height,width,out,kernel,stride,padding"]),
        ("resnet18:0,96", &["no batch", "whole numbers"]),
        ("resnet18:16,-3", &["no size"]),
        ("matmul:9999999999999", &["no N"]),
        ("", &["no test is called ``"]),
    ] {
        let message = Name::parse(text).expect_err(text).to_string();
        assert!(!message.contains('\n'), "{message}");
        for part in parts {
            assert!(message.contains(part), "{text} does not say `{part}`: {message}");
        }
    }
}

#[test]
fn sizes_that_do_not_go_together_are_refused_before_anything_is_made() {
    for text in
        ["conv:1,3,4,4,8,7,1,0", "resnet18:1,32", "matmul:2000000", "queue:4,20000000,8", "top_k:2,8,9"]
    {
        let error = Name::parse(text).expect(text).prepare(&Device::cpu()).err().expect(text);
        assert!(matches!(error, Error::Input { .. }) && error.to_string().contains(text), "{error}");
    }
}

#[test]
fn every_kind_runs_and_counts_its_work() {
    let device = Device::cpu();
    for (text, work) in [
        ("matmul:7", 7 * 7 * 7),
        ("matmul:3,4,5", 60),
        ("conv:2,3,5,4,6,3,1,1", 2 * 5 * 4 * 6 * 27),
        ("convb:2,3,5,4,6,3,1,1", 3 * 2 * 5 * 4 * 6 * 27),
        ("convw:2,3,5,4,6,3,1,1", 2 * 2 * 5 * 4 * 6 * 27),
        ("batch_norm:2,3,3,4", 0),
        ("batch_normb:2,3,3,4", 0),
        ("max_pool:2,5,5,4", 0),
        ("max_poolb:2,5,5,4", 0),
        ("l2_normalize:3,5", 0),
        ("l2_normalizeb:3,5", 0),
        ("cross_entropyb:3,9", 0),
        ("smooth_ap:3,2,4", 0),
        ("queue:3,40,5", 3 * 40 * 5),
        ("top_k:3,9,2", 0),
        ("sgd:100", 0),
        ("ema:100", 0),
        ("voc:2,30,5", 0),
        ("knn:30,5", 30 * 30 * 5),
        ("probe:3,30,5", 0),
        ("tsne:30,5", 0),
        ("nms:30", 0),
        ("nms_disjoint:30", 0),
        ("match:40,3", 0),
        ("mask_rcnn:1,64", 0),
        ("mask_rcnn_photo:64", 0),
        ("pspnet:2,49", 0),
        ("psanet:2,49", 0),
    ] {
        let mut workload = Name::parse(text).expect(text).prepare(&device).expect(text);
        workload.run().expect(text);
        assert_eq!(workload.work, work, "{text}");
    }
    let mut views = Name::parse("views:50x37,16").expect("name").prepare(&device).expect("views");
    views.run().expect("views");
    assert_eq!(views.views, 32);
}

# Made of the parser of train-snn by "make shell": change that, not this.
complete -c train-snn -f
complete -c train-snn -s h -l help -d 'show this help message and exit'
complete -c train-snn -l version -d 'show the version and exit'
complete -c train-snn -l data -r -a 'digits imagefolder: cifar10 cifar100 mnist fashion-mnist imagenet:' -f -d 'what to train on, see below'
complete -c train-snn -l data -r -F -n 'string match -q "*:*" -- (commandline -ct)'
complete -c train-snn -l resume -r -a '(__fish_complete_directories)' -f -d 'run to go on with'
complete -c train-snn -l out -r -a '(__fish_complete_directories)' -f -d 'default: runs/<data>'
complete -c train-snn -l format -r -a 'text json' -f
complete -c train-snn -l from -r -a 'bundled' -F -d 'a t1.pt, a model.onnx, or bundled: trained on, with a new readout for other classes'
complete -c train-snn -l ann -r -F -d 'an ann.pt, or a state dict of torchvision\'s vgg*_bn, resnet18, 34 or 50, as stage 0'
complete -c train-snn -l fine-tune -r -f -d 'factor on the learning rate of all but the readout'
complete -c train-snn -l network -r -a 'vgg5 vgg7s vgg7w vgg9 vgg9w vgg9s vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn resnet12 resnet20 resnet34 resnet18_bn resnet34_bn resnet50_bn' -f -d 'default vgg9; digits vgg5, imagenet vgg16'
complete -c train-snn -l recipe -r -a 'iir iir-bn' -f -d 'default iir-bn'
complete -c train-snn -l width -r -f -d 'factor on channels (default 1)'
complete -c train-snn -l hidden -r -f -d 'neurons in each of two dense layers; 0: none'
complete -c train-snn -l surrogate -r -a 'triangle rectangle tanh' -f
complete -c train-snn -l dropout -r -f
complete -c train-snn -l levels -r -f -d 'thresholds of a neuron: the most spikes it sends at once (default 1)'
complete -c train-snn -l image-size -r -f -d 'imagefolder, imagenet: e.g. 32x32'
complete -c train-snn -l fit -r -a 'crop stretch' -f -d 'default crop'
complete -c train-snn -l timesteps -r -f -d 'of the spiking stages (default 1; iir 5,4,3,2,1)'
complete -c train-snn -l epochs -r -f -d 'the ANN\'s, then each stage\'s; the last one repeats, but for integers'
complete -c train-snn -l budget -r -f -d 'in place of --epochs (and --width): end within this time, e.g. 30m, 3h, 1h30m'
complete -c train-snn -l batch-size -r -f
complete -c train-snn -l optimiser -r -a 'adam adamw muon sgd' -f
complete -c train-snn -l learning-rate -r -f -d 'at its peak'
complete -c train-snn -l spiking-learning-rate -r -f -d 'the same of the spiking stages'
complete -c train-snn -l weight-decay -r -f
complete -c train-snn -l label-smoothing -r -f
complete -c train-snn -l class-weights -r -a 'none balanced' -f -d 'balanced: rare classes count as much as others (default for imagefolder), or none'
complete -c train-snn -l distillation -r -f -d 'share of the loss from the teacher, 0 to 1'
complete -c train-snn -l teacher -r -F -d 'networks of other runs that teach every stage together, in place of the run\'s own ANN'
complete -c train-snn -l cached-teacher -d 'the teacher answers to each picture once a stage, as it is: saves a quarter of a step'
complete -c train-snn -l percentile -r -f -d 'of the currents, first threshold'
complete -c train-snn -l augment -r -f -d 'e.g. flip,shift=4,cutout=8; flip,resized; none; see docs'
complete -c train-snn -l ema -r -f -d 'measure and keep a moving average of the weights, e.g. 0.999'
complete -c train-snn -l largest-drop -r -f -d 'accuracy a stage may lose (0.1)'
complete -c train-snn -l rate-limits -r -f -d 'share of each layer\'s neurons that may fire (default 0.005,0.6)'
complete -c train-snn -l validation -r -f -d 'share of the training pictures that select the best epoch (default 0.1)'
complete -c train-snn -l seed -r -f
complete -c train-snn -l spike-rate -r -f -d 'MAC-weighted share of spikes to end at, e.g. 0.08'
complete -c train-snn -l regulariser -r -a 'synaptic hoyer' -f -d 'what drives the rate there (default synaptic)'
complete -c train-snn -l int-bits -r -a '8 6 4' -f -d 'train T=1 through the quantiser in a last stage, in integers of so many bits'
complete -c train-snn -l device -r -a 'auto cpu cuda' -f -d 'auto, cpu, cuda, cuda:1 (default auto)'
complete -c train-snn -l threads -r -f -d 'CPU threads (default: all it may use)'
complete -c train-snn -l precision -r -a 'auto float32 bfloat16' -f -d 'default auto: bfloat16 where the processor or GPU computes in it, else float32'
complete -c train-snn -l micro-batch -r -f -d 'pictures computed at once, if a batch does not fit into memory (default: found out)'
complete -c train-snn -l compile -d 'torch.compile the steps; on a processor, convolve by events'
complete -c train-snn -l no-compile -d 'no longer: for --resume of a run that began with --compile'

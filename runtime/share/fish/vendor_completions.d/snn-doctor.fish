# Made of the parser of snn-doctor by "make shell": change that, not this.
complete -c snn-doctor -f
complete -c snn-doctor -s h -l help -d 'show this help message and exit'
complete -c snn-doctor -l version -d 'show the version and exit'
complete -c snn-doctor -l model -r -F -d 'model.onnx (default: the bundled one)'
complete -c snn-doctor -l json -d 'one JSON object instead of text'
complete -c snn-doctor -l output -r -F -d 'report file (on a Jetson: snn-doctor-report.json)'
complete -c snn-doctor -l timeout -r -f -d 'for each engine (default: 60, with a GPU 600, since TensorRT may build for minutes)'

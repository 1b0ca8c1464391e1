# docker buildx bake --file docker/docker-bake.hcl                 cpu, loaded as iir-snn:amd64 and :arm64
# docker buildx bake --file docker/docker-bake.hcl cpu-amd64       one of them
# docker buildx bake --file docker/docker-bake.hcl release         cpu, both in one image, to be pushed
# docker buildx bake --file docker/docker-bake.hcl serve           snn-serve, the same
# Others: train, cuda, jetson-6, jetson-7. Run from the top of the repository.

variable "IMAGE" { default = "iir-snn" }
variable "VERSION" { default = "unknown" }
variable "REVISION" { default = "unknown" }

group "default" {
  targets = ["cpu"]
}

target "common" {
  context = "."
  args = {
    VERSION  = VERSION
    REVISION = REVISION
  }
}

target "cpu" {
  name       = "cpu-${arch}"
  matrix     = { arch = ["amd64", "arm64"] }
  inherits   = ["common"]
  dockerfile = "docker/cpu.Dockerfile"
  platforms  = ["linux/${arch}"]
  tags       = ["${IMAGE}:${arch}"]
  output     = ["type=docker"]
}

target "release" {
  inherits   = ["common"]
  dockerfile = "docker/cpu.Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${IMAGE}:${VERSION}"]
}

target "serve" {
  inherits = ["release"]
  target   = "serve"
  tags     = ["${IMAGE}-serve:${VERSION}"]
}

target "train" {
  inherits   = ["common"]
  dockerfile = "docker/train.Dockerfile"
  tags       = ["${IMAGE}-train"]
  output     = ["type=docker"]
}

target "cuda" {
  inherits   = ["common"]
  dockerfile = "docker/cuda.Dockerfile"
  platforms  = ["linux/amd64"]
  tags       = ["${IMAGE}-cuda"]
  output     = ["type=docker"]
}

target "jetson" {
  name       = "jetson-${jetpack}"
  matrix     = { jetpack = ["6", "7"] }
  inherits   = ["common"]
  dockerfile = "docker/jetson.Dockerfile"
  args       = { JETPACK = jetpack }
  platforms  = ["linux/arm64"]
  tags       = ["${IMAGE}-jetson:jetpack-${jetpack}"]
  output     = ["type=docker"]
}

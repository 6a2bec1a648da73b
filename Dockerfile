# keras_vgg with all of its commands, on CPUs. Data, runs and exports lie in the folder that is mounted at /work:
#
#   docker build -t keras_vgg .
#   docker run --rm -v "$PWD:/work" keras_vgg fit --recipe quickstart --workdir runs/quickstart
#   docker run --rm -v "$PWD:/work" keras_vgg export --model runs/quickstart --out models/vgg
#   docker run --rm -v "$PWD:/work" -p 8500:8500 -p 8501:8501 keras_vgg serve --model models/vgg --host 0.0.0.0
#
# `serve` is for trying. For production the same folder goes to TensorFlow Serving's own image, which needs nothing of this one:
#
#   docker run --rm -p 8500:8500 -p 8501:8501 --mount type=bind,source="$PWD/models/vgg",target=/models/vgg \
#       tensorflow/serving:2.21.0 --model_name=vgg --model_base_path=/models/vgg
#
# or into an image made of it, by a Dockerfile of its own:
#
#   FROM tensorflow/serving:2.21.0
#   COPY models/vgg /models/vgg
#   ENV MODEL_NAME=vgg
#
# With NVIDIA's GPUs: docker build --build-arg EXTRAS=all,gpu -t keras_vgg . and docker run --gpus all …
FROM python:3.12-slim

ARG EXTRAS=all

COPY pyproject.toml README.md LICENSE /src/
COPY keras_vgg /src/keras_vgg
COPY recipes /src/recipes
RUN pip install --no-cache-dir "/src[${EXTRAS}]" && rm -r /src

WORKDIR /work
# Whoever runs it (--user "$(id -u):$(id -g)") may write there, and public weights in .keras are not fetched anew each time.
ENV HOME=/work
EXPOSE 8500 8501
ENTRYPOINT ["keras-vgg"]
CMD ["--help"]

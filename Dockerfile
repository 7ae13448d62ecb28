# ambiseg with the pinned versions of constraints.txt: docs/how-to/container.md.
#   docker build -t ambiseg:cpu .                                                   torch for CPUs
#   docker build -t ambiseg:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .  torch for CUDA
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt ./
RUN python -m venv /opt/ambiseg \
    && grep '^torch==' constraints.txt > torch.txt \
    && /opt/ambiseg/bin/pip install --no-deps --index-url "$TORCH_INDEX" -r torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY ambiseg_cli ambiseg_cli
COPY preprocessing preprocessing
COPY models models
RUN /opt/ambiseg/bin/pip install -c constraints.txt '.[dicom-codecs]'

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.source="https://github.com/ambiseg/ambiseg" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/ambiseg /opt/ambiseg
# Caches go where any user may write: the container runs as whoever starts it.
ENV PATH=/opt/ambiseg/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["ambiseg"]
CMD ["--help"]
